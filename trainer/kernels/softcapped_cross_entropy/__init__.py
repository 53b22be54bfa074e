"""The loss of every token, from the stream's last state to nats."""
