"""What a real kube-apiserver answered, as data, and the code that asks the embedded one the same."""
