"""Pictures as rows of pixels: folders of image files, and files of the MNIST family."""
