"""The commands of `beacon`, a module each; imported only when it is called. Start reading at `status`."""
