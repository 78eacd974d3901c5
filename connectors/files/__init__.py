"""Files and folders: what is found, and what of it changed."""
