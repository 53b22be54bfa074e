"""What a submission says: its logs, its README, its submission.json."""
