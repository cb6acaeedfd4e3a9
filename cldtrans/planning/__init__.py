"""What a config will run and cost, and which code each rule executes."""
