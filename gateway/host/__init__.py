"""The only place that touches the kernel. Above it there is no OSError: errors are translated here, once."""
