"""What the server does with a round's updates: similarity -> clustering -> tracking -> merging. Blind to tasks."""
