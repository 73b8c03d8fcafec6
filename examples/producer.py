import shmring

with shmring.Ring.open("greetings", capacity="1 MiB") as ring:
    for number in range(10):
        ring.put(f"hello {number}".encode())
    ring.shutdown()
