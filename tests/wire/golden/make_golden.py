#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden byte vectors of the wire formats, from the format documents alone.

    make_golden.py           writes every <name>.hex beside this script
    make_golden.py --check   compares instead; exit code 1 names the files that differ

Nothing of Gantry's own code is used: struct, zlib, json and a few lines of Protocol Buffers.
Source: docs/formats/wire.md, docs/formats/record.md.
"""

import ipaddress
import json
import pathlib
import struct
import sys
import zlib

HERE = pathlib.Path(__file__).resolve().parent

JAVA, CPP, GO = 0, 1, 9
LANGUAGES = {JAVA: "JAVA", CPP: "CPP", GO: "GO"}


# Protocol Buffers, by hand.


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def fixed32(field, value):
    return varint(field << 3 | 5) + struct.pack("<I", value & 0xFFFFFFFF)


def chunk(field, value):
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def zigzag(value):
    return value << 1 if value >= 0 else (-value << 1) - 1


# Frames.


def frame(codec, header, body=b""):
    length = 4 + len(header) + len(body)
    return struct.pack(">II", length, codec << 24 | len(header)) + header + body


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def json_header(code, opaque, language, version, flag=0, remark=None, ext=None):
    header = {"code": code}
    if ext is not None:
        header["extFields"] = ext
    header["flag"] = flag
    header["language"] = LANGUAGES[language]
    header["opaque"] = opaque
    if remark is not None:
        header["remark"] = remark
    header["serializeTypeCurrentRPC"] = "JSON"
    header["version"] = version
    return compact(header)


def binary_header(code, opaque, language, version, flag=0, remark=None, ext=None):
    text = (remark or "").encode()
    entries = b""
    for name, value in (ext or {}).items():
        name, value = name.encode(), value.encode()
        entries += struct.pack(">h", len(name)) + name + struct.pack(">i", len(value)) + value
    head = struct.pack(">hBhii", code, language, version, opaque, flag)
    return head + struct.pack(">i", len(text)) + text + struct.pack(">i", len(entries)) + entries


def native_header(code, opaque, language, version, flag=0, remark=None, fields=b""):
    header = number(1, zigzag(code)) if code else b""
    header += fixed32(2, opaque) if opaque else b""
    header += number(3, flag) if flag else b""
    header += number(4, language) if language else b""
    header += number(5, version) if version else b""
    header += chunk(6, remark) if remark else b""
    return header + (chunk(7, fields) if fields else b"")


SEND_V2 = {
    "a": "PG",
    "b": "TopicA",
    "c": "TBW102",
    "d": "4",
    "e": "-1",
    "f": "1",
    "g": "1700000000000",
    "h": "77",
    "i": "KEYS\x01k \"1\"\\\x02TAGS\x01Tag\u00e9",
    "j": "0",
    "k": "false",
    "l": "16",
    "m": "true",
    "n": "broker-a",
}

PULL_ANSWER = {
    "suggestWhichBrokerId": "0",
    "nextBeginOffset": "1099511627776",
    "minOffset": "0",
    "maxOffset": "1099511627777",
}


def frames():
    yield "frame_json_route_request", frame(
        0, json_header(105, 7, JAVA, 479, ext={"topic": "TopicA"}))
    yield "frame_binary_route_request", frame(
        1, binary_header(105, 7, JAVA, 479, ext={"topic": "TopicA"}))
    yield "frame_native_route_request", frame(
        2, native_header(105, 7, JAVA, 479, fields=chunk(1, "TopicA")))
    yield "frame_json_no_topic", frame(0, json_header(17, 7, JAVA, 409, flag=1, remark="No topic"))
    yield "frame_binary_send_answer", frame(
        1, binary_header(0, 7, JAVA, 409, flag=1, ext={"queueId": "1", "queueOffset": "0"}))
    yield "frame_json_send_v2", frame(0, json_header(310, 8, CPP, 409, ext=SEND_V2), b"body")
    yield "frame_binary_send_v2", frame(1, binary_header(310, 8, CPP, 409, ext=SEND_V2), b"body")
    for codec, header in ((0, json_header), (1, binary_header)):
        yield f"frame_{('json', 'binary')[codec]}_pull_answer", frame(
            codec, header(0, 9, CPP, 409, flag=1, remark="FOUND", ext=PULL_ANSWER), b"records")
    pull = number(1, 0) + number(2, 1 << 40) + number(3, 0) + number(4, (1 << 40) + 1)
    yield "frame_native_pull_answer", frame(
        2, native_header(0, 9, CPP, 409, flag=1, remark="FOUND", fields=pull), b"records")
    records = chunk(1, "TopicA") + number(2, 3) + number(3, 2) + number(4, 1)
    yield "frame_native_send_records", frame(
        2, native_header(10001, -2, CPP, 409, flag=2, fields=records), b"two records")
    sent = number(1, 300) + number(2, -1) + number(3, 1700000000000)
    yield "frame_native_send_records_answer", frame(
        2, native_header(0, -2, CPP, 409, flag=1, fields=sent))


# Records and batches.


def host(text, port):
    return ipaddress.ip_address(text).packed + struct.pack(">i", port)


def record(version, born, store, topic, body, properties, **numbers):
    get = numbers.get
    sys_flag = get("sys_flag", 0)
    sys_flag |= 0x10 if ":" in born[0] else 0
    sys_flag |= 0x20 if ":" in store[0] else 0
    topic, properties = topic.encode(), properties.encode()
    rest = struct.pack(">I", {1: 0xDAA320A7, 2: 0xDAA320AB}[version])
    rest += struct.pack(">I", zlib.crc32(body) & 0x7FFFFFFF)
    rest += struct.pack(">ii", get("queue_id", 0), get("flag", 0))
    rest += struct.pack(">qq", get("queue_offset", 0), get("log_offset", 0))
    rest += struct.pack(">iq", sys_flag, get("born_ms", 0)) + host(*born)
    rest += struct.pack(">q", get("store_ms", 0)) + host(*store)
    rest += struct.pack(">iq", get("reconsume_times", 0), get("prepared_offset", 0))
    rest += struct.pack(">i", len(body)) + body
    rest += struct.pack(">B" if version == 1 else ">H", len(topic)) + topic
    rest += struct.pack(">h", len(properties)) + properties
    return struct.pack(">i", 4 + len(rest)) + rest


def records():
    numbers = dict(queue_id=3, flag=-7, queue_offset=5_000_000_000, log_offset=1 << 40, sys_flag=9,
                   born_ms=1700000000000, store_ms=1700000000123, reconsume_times=2,
                   prepared_offset=-9)
    for version, topic in ((1, "t" * 127), (2, "t" * 128)):
        for born in ("10.0.0.1", "fd00::1"):
            for store in ("10.0.0.2", "fd00::2"):
                name = f"record_v{version}_born{4 + 2 * (':' in born)}_store{4 + 2 * (':' in store)}"
                yield name, record(version, (born, 4000), (store, 10911), topic,
                                   b"the \x00 body", "TAGS\x01\u00e9", **numbers)
    properties = "\x02".join(
        f"{name}\x01{value}" for name, value in (
            ("color", "red"), ("KEYS", "key1 key2"),
            ("UNIQ_KEY", "7F00000164535FFD2B2766E83CCA0000"),
            ("CLUSTER", "DefaultCluster"), ("TAGS", "TagA")))
    yield "record_reference", record(1, ("127.0.0.1", 51020), ("127.0.0.1", 10911), "TopicA",
                                     b"hello", properties, queue_id=1, born_ms=0x1A1FB5024CC,
                                     store_ms=0x1A1FB5024DA)


def batch_element(flag, body, properties):
    properties = properties.encode()
    rest = struct.pack(">iiii", 0, 0, flag, len(body)) + body
    rest += struct.pack(">h", len(properties)) + properties
    return struct.pack(">i", 4 + len(rest)) + rest


def batches():
    yield "batch", (batch_element(0, b"batch0", "KEYS\x01bk0\x02WAIT\x01true") +
                    batch_element(-1, b"", "") + batch_element(5, bytes(range(256)), "TAGS\x01t"))


# Ids and hashes, as triples a test can walk.


def java_hash(text):
    units = text.encode("utf-16-be")
    value = 0
    for i in range(0, len(units), 2):
        value = (31 * value + (units[i] << 8 | units[i + 1])) & 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def ids():
    rows = b""
    for address, port, offset in (("127.0.0.1", 10911, 0), ("fd00::1", 10911, 570),
                                  ("255.1.2.3", 65535, (1 << 63) - 1)):
        packed = host(address, port)
        text = (packed + struct.pack(">q", offset)).hex().upper().encode()
        rows += struct.pack(">B", len(packed)) + packed + struct.pack(">q", offset)
        rows += struct.pack(">B", len(text)) + text
    yield "message_ids", rows
    rows = b""
    for tag in ("", "TagA", "TagB", "TagC", "\u00e9", "\u20ac", "\U0001f600", "a" * 100, "||"):
        text = tag.encode()
        rows += struct.pack(">B", len(text)) + text + struct.pack(">q", java_hash(tag))
    yield "tag_hashes", rows


# Bodies: fastjson's text and Protocol Buffers of the same objects.


def bodies():
    queue = dict(brokerName="broker-a", perm=6, readQueueNums=4, topicSysFlag=0, writeQueueNums=4)
    broker = dict(brokerAddrs={"0": "127.0.0.1:10911"}, brokerName="broker-a",
                  cluster="DefaultCluster")
    route = compact(dict(brokerDatas=[broker], filterServerTable={}, queueDatas=[queue]))
    yield "body_route_standard", route
    yield "body_route_bare", route.replace(b'{"0":', b"{0:")
    address = number(1, 0) + chunk(2, "127.0.0.1:10911")
    data = chunk(1, address) + chunk(2, "broker-a") + chunk(3, "DefaultCluster")
    queues = chunk(1, "broker-a") + number(2, 6) + number(3, 4) + number(4, 0) + number(5, 4)
    yield "body_route_native", chunk(1, data) + chunk(4, queues)
    cluster = compact(dict(brokerAddrTable={"broker-a": broker},
                           clusterAddrTable={"DefaultCluster": ["broker-a"]}))
    yield "body_cluster_bare", cluster.replace(b'{"0":', b"{0:")
    key = compact(dict(brokerName="broker-a", queueId=3, topic="TopicA"))
    value = compact(dict(lastUpdateTimestamp=1795217696505, maxOffset=3, minOffset=0))
    yield "body_topic_stats", b'{"offsetTable":{' + key + b":" + value + b"}}"
    subscription = dict(classFilterMode=False, codeSet=[java_hash("TagA"), java_hash("TagC")],
                        expressionType="TAG", subString="TagA || TagC", subVersion=1795217708374,
                        tagsSet=["TagA", "TagC"], topic="TopicA")
    consumer = dict(consumeFromWhere="CONSUME_FROM_FIRST_OFFSET", consumeType="CONSUME_PASSIVELY",
                    groupName="CG", messageModel="CLUSTERING", subscriptionDataSet=[subscription],
                    unitMode=False)
    yield "body_heartbeat", compact(dict(clientID="127.0.0.1@25838#1058815430249",
                                         consumerDataSet=[consumer],
                                         producerDataSet=[dict(groupName="PG")]))
    by_number = dict(consumer, consumeFromWhere=4, consumeType=1, messageModel=1)
    by_number["subscriptionDataSet"] = [dict(subscription, subVersion="1795217708374")]
    yield "body_heartbeat_cpp", json.dumps(dict(clientID="127.0.0.1@25838#1058815430249",
                                                consumerDataSet=[by_number],
                                                producerDataSet=[dict(groupName="PG")])
                                           ).encode() + b"\n"


def lines_of(data):
    text = data.hex()
    return "".join(text[i:i + 96] + "\n" for i in range(0, len(text), 96))


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    wanted = {}
    for make in (frames, records, batches, ids, bodies):
        wanted.update((name + ".hex", lines_of(data)) for name, data in make())
    for name, text in wanted.items():
        path = HERE / name
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    stale += sorted(path.name for path in HERE.glob("*.hex") if path.name not in wanted)
    if stale:
        print("not what make_golden.py writes:", ", ".join(stale))
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
