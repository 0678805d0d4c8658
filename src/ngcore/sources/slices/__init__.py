"""Volumes that lie as 2-D slices: folders of pictures, and TIFF stacks."""
