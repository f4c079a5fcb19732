"""Train a small neural network on scikit-learn's handwritten digits, and report after every epoch.

`python train.py` runs it once with the parameters below. In a search each job gets others.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is loaded: jobs run side by side, each on a core of its own

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from eventhpo import job

EPOCHS = 15
TRAIN = 1200  # images to learn from; the other 597 validate
SHIFTS = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]

# The defaults. A search replaces those that are in its space, as General/lr, General/width, ...
params = job.connect({"lr": 0.001, "width": 32, "activation": "relu", "batch_size": 64, "alpha": 0.0001})

images, digits = load_digits(return_X_y=True)
images = images / 16

# Five times the data: each image as it is, and shifted by a pixel to each side.
shifted = [np.roll(images[:TRAIN].reshape(-1, 8, 8), shift, axis=(1, 2)) for shift in SHIFTS]
train_images = np.concatenate(shifted).reshape(-1, 64)
train_digits = np.tile(digits[:TRAIN], len(SHIFTS))

model = MLPClassifier(
    hidden_layer_sizes=(params["width"], params["width"]),
    learning_rate_init=params["lr"],
    activation=params["activation"],
    batch_size=params["batch_size"],
    alpha=params["alpha"],
    random_state=0,  # the same parameters give the same accuracy, on one machine
)

for epoch in range(1, EPOCHS + 1):
    model.partial_fit(train_images, train_digits, classes=range(10))
    accuracy = model.score(images[TRAIN:], digits[TRAIN:])
    job.report_scalar("train", "loss", value=model.loss_, iteration=epoch)
    job.report_scalar("validation", "accuracy", value=accuracy, iteration=epoch)

print(f"validation accuracy after {EPOCHS} epochs: {accuracy:.4f}")
