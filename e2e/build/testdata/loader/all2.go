package main

import _ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
