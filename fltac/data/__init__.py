"""Tasks and who holds them: sources -> examples -> seeded shards. No torch, no federation words."""
