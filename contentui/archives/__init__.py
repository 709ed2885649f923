"""Import and export of images as archives."""
