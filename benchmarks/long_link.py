# SPDX-License-Identifier: Apache-2.0
"""A link between two network namespaces whose packets are late, limited in rate, and now and then
lost: what the kernel's netem does, for kernels without it. Needs root, iproute2 and /dev/net/tun.

    link = LongLink("bbr")                     TCP's congestion control at both ends
    link.enter()                               this process is at the near end from now on
    link.carry(0.1, 25e6, 0.01)                round trip in s, bytes/s each way, share lost
    subprocess.Popen([*link.at_far, ...])      a program at the far end, reached as LongLink.FAR
    link.close()

Packets are those of real TCP connections: losses, and what the ends make of them, are the kernel's.
"""

import collections
import ctypes
import fcntl
import os
import random
import select
import signal
import struct
import subprocess
import time

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
CLONE_NEWNET = 0x40000000
PACKET_MAX = 65536


def run(*argv):
    """A command that must succeed."""
    subprocess.run(argv, check=True, capture_output=True)


def enter_namespace(name):
    """Moves this thread, and what it starts, into a network namespace."""
    with open(f"/run/netns/{name}", "rb") as namespace:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {name}")


def open_tun(namespace):
    """The namespace's end of the link, for the process that carries its packets."""
    enter_namespace(namespace)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"link", IFF_TUN_NO_PI))
    return tun


class Lane:
    """One direction. Like a router it holds what leaves later, up to QUEUE seconds of it."""

    QUEUE = 0.1
    BURST = 64  # packets, before the other direction has its turn

    def __init__(self, source, target, delay, rate, loss):
        self.source = source
        self.target = target
        self.delay = delay
        self.rate = rate
        self.loss = loss
        self.free_at = 0.0  # when the line has sent what it was given
        self.packets = collections.deque()

    def take(self):
        """What has come."""
        now = time.monotonic()
        for _ in range(self.BURST):
            try:
                packet = os.read(self.source, PACKET_MAX)
            except BlockingIOError:
                return
            start = max(now, self.free_at)
            if start - now > self.QUEUE or random.random() < self.loss:
                continue
            self.free_at = start + len(packet) / self.rate
            self.packets.append((self.free_at + self.delay, packet))

    def give(self):
        """What is due; seconds until the next is."""
        now = time.monotonic()
        while self.packets and self.packets[0][0] <= now:
            os.write(self.target, self.packets.popleft()[1])
        return self.packets[0][0] - now if self.packets else 1.0


def carry(tuns, round_trip, rate, loss):
    """Until the process is killed."""
    near, far = tuns
    lanes = {near: Lane(near, far, round_trip / 2, rate, loss),
             far: Lane(far, near, round_trip / 2, rate, loss)}
    poll = select.epoll()
    for tun in tuns:
        poll.register(tun, select.EPOLLIN)
    while True:
        for tun, _ in poll.poll(min(lane.give() for lane in lanes.values())):
            lanes[tun].take()


class LongLink:
    """See above. One for each process: it has names and addresses of its own by the process id."""

    NEAR = "10.77.0.1"
    FAR = "10.77.0.2"

    def __init__(self, congestion_control):
        self.names = [f"gantry-{end}-{os.getpid()}" for end in ("near", "far")]
        self.at_far = ["ip", "netns", "exec", self.names[1]]
        self.carrier = None
        for name, own, peer in zip(self.names, (self.NEAR, self.FAR), (self.FAR, self.NEAR)):
            run("ip", "netns", "add", name)
            ip = ["ip", "-n", name]
            run(*ip, "link", "set", "lo", "up")
            run(*ip, "tuntap", "add", "dev", "link", "mode", "tun")
            run(*ip, "addr", "add", own, "peer", peer, "dev", "link")
            run(*ip, "link", "set", "dev", "link", "up", "txqueuelen", "10000")
            run("ip", "netns", "exec", name, "sysctl", "-w",
                f"net.ipv4.tcp_congestion_control={congestion_control}")

    def enter(self):
        """This process lives at the near end from now on."""
        enter_namespace(self.names[0])

    def carry(self, round_trip, rate, loss=0.0):
        """Packets go from now on, as the arguments say, and no longer as before."""
        self.stop()
        self.carrier = os.fork()
        if self.carrier == 0:
            try:
                carry([open_tun(name) for name in self.names], round_trip, rate, loss)
            finally:
                os._exit(1)

    def stop(self):
        """Nothing gets through any more."""
        if self.carrier is not None:
            os.kill(self.carrier, signal.SIGKILL)
            os.waitpid(self.carrier, 0)
            self.carrier = None

    def close(self):
        """Removes both ends."""
        self.stop()
        for name in self.names:
            run("ip", "netns", "del", name)
