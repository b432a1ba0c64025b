#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Installs a build into an empty directory and builds programs against it, as a user would.

  tests/install/install_test.py BUILD GUIDE COMPILER

The first program holds every C++ snippet of the client guide and is found by find_package. The
second is found by pkg-config and runs against a nameserver that is not there: it must get an error.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile

PROLOGUE = """
#include <iostream>
#include <string_view>

bool handle(std::string_view body) { return !body.empty(); }

int guide() {
"""

SENDER = r"""
#include "client/client.h"
#include "client/producer.h"

#include <iostream>

int main() {
    gantry::client::Client::Options options;
    options.nameservers = {"127.0.0.1:1"};
    auto client = gantry::client::Client::start(options);
    if (!client) { return 1; }
    gantry::client::Producer::Options quick;
    quick.deadline = std::chrono::milliseconds(200);
    auto producer = gantry::client::Producer::create(*client, quick);
    if (!producer) { return 2; }
    gantry::client::Message message;
    message.topic = "orders";
    message.body = "x";
    const auto receipt = (*producer)->send(message);
    if (receipt) { return 3; }
    std::cout << to_string(receipt.error()) << '\n';
    return 0;
}
"""

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(user CXX)
find_package(gantry REQUIRED)
add_executable(guide guide.cc)
target_link_libraries(guide PRIVATE gantry::client)
"""


def guide_program(path):
    """The snippets of a Markdown file as one program: the first opens a scope for all others."""
    with open(path, encoding="utf-8") as guide:
        snippets = re.findall(r"^```cpp\n(.*?)^```", guide.read(), re.M | re.S)
    if len(snippets) < 4:
        raise SystemExit(f"{path}: {len(snippets)} C++ snippets, not the guide this test knows")
    lines = [line for snippet in snippets for line in snippet.splitlines()]
    hoisted = [line for line in lines if line.startswith(("#include", "using namespace"))]
    bodies = ["\n".join(line for line in snippet.splitlines() if line not in hoisted)
              for snippet in snippets]
    scopes = "\n".join("{\n" + body + "\n}" for body in bodies[1:])
    hoisted.sort(key=lambda line: line.startswith("using"))
    return "\n".join(hoisted) + PROLOGUE + bodies[0] + scopes + "return 0;\n}\n" \
        "int main(int argc, char**) { return argc > 1 ? guide() : 0; }\n"


def write(directory, name, text):
    """Writes a file; its path."""
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def run(*argv, **more):
    """Runs a command that must succeed; what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=280, **more)
    if done.returncode != 0:
        raise SystemExit(f"{shlex.join(argv)}: status {done.returncode}\n"
                         f"{done.stdout}{done.stderr}")
    return done.stdout


def main():
    build, guide, compiler = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="gantry-install-") as scratch:
        prefix = os.path.join(scratch, "prefix")
        run("cmake", "--install", build, "--prefix", prefix)
        for program in ("gantry", "gantry-broker", "gantry-nameserver", "gantry-bench"):
            print(run(os.path.join(prefix, "bin", program), "--version").strip())

        write(scratch, "CMakeLists.txt", PROJECT)
        write(scratch, "guide.cc", guide_program(guide))
        out = os.path.join(scratch, "out")
        run("cmake", "-G", "Ninja", "-S", scratch, "-B", out, f"-DCMAKE_PREFIX_PATH={prefix}",
            f"-DCMAKE_CXX_COMPILER={compiler}")
        run("cmake", "--build", out)
        run(os.path.join(out, "guide"))

        source = write(scratch, "sender.cc", SENDER)
        paths = dict(os.environ, PKG_CONFIG_PATH=os.path.join(prefix, "lib", "pkgconfig"))
        flags = shlex.split(run("pkg-config", "--cflags", "--libs", "gantry", env=paths))
        sender = os.path.join(scratch, "sender")
        run(compiler, "-std=c++20", source, "-o", sender, *flags)
        print(run(sender).strip())


if __name__ == "__main__":
    main()
