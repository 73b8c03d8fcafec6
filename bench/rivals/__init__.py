"""Other people's queues, each used as its own documentation recommends. One file each; `open` makes a Channel."""
