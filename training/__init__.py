"""How the shipped models were made. README.md has the commands.

Imports run one way only, from the bottom up: options, drawing, captions, measuring, sums, muon, loop; then
artwork; then clip; then diffusion. Every part that is run is a module: ``python -m training.clip.train``, from the root.
"""

import logging
from pathlib import Path

# transformers says this of every class that reads pictures; nothing here needs torchvision
logging.getLogger("transformers.utils.import_utils").addFilter(
    lambda record: "requires torchvision (not installed)" not in record.getMessage()
)

FOLDER = Path(__file__).resolve().parent
BUILD = FOLDER / "build"  # the data set, checkpoints, logs and sheets; not under version control
SHIPPED = FOLDER.parent / "helpers"  # what is written here is published
