"""accelerate launch train.py --token "<my-cat>" (the same as `ti-trainer train`)."""

import sys

from ti_trainer.__main__ import program

if __name__ == "__main__":
    program(["train", *sys.argv[1:]])
