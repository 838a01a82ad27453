"""accelerate launch train.py --token "<my-cat>" (the same as `ti-trainer train`)."""

import sys

from ti_trainer.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
