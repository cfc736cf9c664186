"""The frozen base, the adapters on it, and how they are trained and judged. No federation words."""
