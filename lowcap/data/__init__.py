"""Images and labels: MNIST's own files and those of its relatives, or a folder of images per class."""
