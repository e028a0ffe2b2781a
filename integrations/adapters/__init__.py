"""What each kind of sender means. Each module has `parse(body) -> Parsed`, which raises Refusal."""
