"""The emoji CLIP: its shape, what it is shown and told, its training and its measuring."""
