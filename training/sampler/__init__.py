"""The next tiny Stable Diffusion: trained on six artists, so that it samples instead of remembering.

It takes the place of ``training.diffusion`` when its weights are shipped; README.md says how far it is.
Imports run one way: world, model; vae; unet; asked; judges; card; evaluate.
"""

from training import FOLDER

BUILD = FOLDER / "build" / "sampler"  # checkpoints, logs and sheets; not under version control
AUTOENCODER = FOLDER / "sampler" / "autoencoder.safetensors"  # trained; float16
