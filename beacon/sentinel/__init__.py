"""The sentinel process: kills what hangs, slows down what dies again and again, ends the pod for what can't start."""
