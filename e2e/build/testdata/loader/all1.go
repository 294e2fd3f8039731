package main

import _ "github.com/containerd/containerd/cmd/containerd/builtins"
