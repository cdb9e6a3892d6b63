"""Recorded responses of a real kube-apiserver, and the code that sends the same requests to the embedded one."""
