"""All that is known of a submission → its verdict."""
