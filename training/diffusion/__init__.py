"""The tiny Stable Diffusion: trained on six artists, so that it samples instead of remembering.

Imports run one way: world, model; vae; unet; asked; judges; card; evaluate.
"""

from training import FOLDER

BUILD = FOLDER / "build" / "diffusion"  # checkpoints, logs and sheets; not under version control
AUTOENCODER = FOLDER / "diffusion" / "autoencoder.safetensors"  # trained; float16
