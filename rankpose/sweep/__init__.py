"""Many runs: what is around them, and what starts them."""
