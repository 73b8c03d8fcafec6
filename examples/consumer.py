import shmring

with shmring.Ring.attach("greetings", timeout=10) as ring:
    for message in ring:
        print(message.decode())
