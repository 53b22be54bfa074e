import time

CODEC = "zlib"
NAMES = {"loop": "stopping_early"}


def log0(text):
    print(text)


def main():
    started = time.perf_counter()
    log0(f"{NAMES['loop']}: wallclock_cap train_time:600013ms step:13701/20000")
    log0("peak memory allocated: 10119 MiB")
    log0("packing_%s: %d bytes" % (CODEC, 15900000))
    log0(f"final_int8_{CODEC}_roundtrip val_loss:{2.0:.4f} val_bpb:{1.2:.4f}")
    log0(f"final_int8_{CODEC}_roundtrip_exact val_loss:{2.0:.8f} val_bpb:{1.2:.8f}")
    print(f"took {time.perf_counter() - started}")


main()
