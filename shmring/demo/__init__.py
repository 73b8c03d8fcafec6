"""The main job: count the tokens of a library's sources with separately started programs.

    reader --files--> tokenizer, tokenizer, ... --counts--> reducer

Each is a program of its own (`python -m shmring.demo.reader ...`), connected to the others by the names of
two rings. `on_rings.py` starts them, `on_queues.py` is the same on multiprocessing.Queue, `run.py` checks
both against one process and compares them. It all uses the public names of shmring only.
"""
