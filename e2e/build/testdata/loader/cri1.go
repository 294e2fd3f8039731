package main

import _ "github.com/containerd/containerd/pkg/cri"
