import os
import sys

def model_dim():
    return 512

def seed():
    return int(os.environ['SEED'])

class Trainer:
    dim = model_dim()

def main():
    print('train', Trainer.dim, seed(), sys.version)

main()
