"""Where the records of buffers outlive the process.

buffers   all of them, and the task that tends them
keeper    one of them: what stands where, and when it moves
trail     its journal in use; journal, frames: the journal itself, in memory of the kernel
disk      its file as the loop sees it; worker: the thread; cold, runs, database, salvage: the file, SQLite
numbers   which sequence numbers may have been given
"""
