"""The tiny Stable Diffusion on top of the emoji CLIP: its shape, its world, two trainings, its measuring."""
