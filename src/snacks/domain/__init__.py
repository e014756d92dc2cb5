"""What the system means, without any I/O: values, the order and its fold, and the commands."""
