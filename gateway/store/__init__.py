"""Where records outlive the process: one frame format, a journal in memory of the kernel, a file on disk."""
