// Package harness runs real Docker hosts, a real mooringd and the real
// command line for the end-to-end tests.
//
// A Lab is one folder and everything started for one test run. Its guests are
// Docker hosts in their own pid, mount, network, uts and ipc namespaces with a
// private /dev, /run and /tmp: as far apart as virtual machines as one kernel
// allows. The host service stands outside, plugs block nodes into a guest's
// /dev and offers each guest one socket. Power off is the death of a guest's
// init.
//
// A guest can be a VM of a simulated vCenter, see VCenter: that one plugs the
// nodes, the guest reaches the host service over TLS on the lab's network, and
// its VM is on as long as the guest is.
//
// A Browser is a real Chromium, whose tabs find their way over the portal's
// pages by the words that a person sees, keep pictures of them, and look for
// what shuts people out.
//
// The harness talks to the product only through its binaries, sockets and
// files. It needs root, Debian's docker.io, busybox-static, docker-registry,
// iproute2, util-linux, openssh-server and chromium, and what "make peers" builds.
//
// What a killed run left behind is removed by the next one: a lab's folder is
// locked while its owner lives, and every process of a lab carries the folder
// in its environment. Nothing else on the machine is touched.
package harness
