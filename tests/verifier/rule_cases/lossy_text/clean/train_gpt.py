print("val_bpb")
