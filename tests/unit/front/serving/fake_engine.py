"""A stand-in engine that a person can predict: it speaks the frames and runs no graph. Started as a process by the tests.

Its folder's name says how it loads: "ok", "slow", "refuses", "crashes" or "sleeps". What it does with a request is the request's first text:
"die" exits, "freeze" stops answering anything, "wait" never answers until cancelled, "bad" fails by field; else the text comes
back as a label, or as deltas of one letter each every 2 ms, for ever when the text is "endless".
"""

from __future__ import annotations

import os
import socket
import sys
import time

from trine import frames


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def load(sock: socket.socket) -> None:
    mode = os.path.basename(option("--artifact"))
    if mode == "crashes":
        os._exit(7)
    if mode == "sleeps":
        time.sleep(60)
    if mode == "slow":
        time.sleep(0.5)
    if mode == "refuses":
        sock.sendall(frames.pack([frames.LoadFailed("ARTIFACT_CORRUPT", "the artifact is not as it was")]))
        os._exit(1)
    sock.sendall(frames.pack([frames.Ready(0.01, 0.0, 4)]))


def read(ask: frames.Classify | frames.ClassifyTokens | frames.Embed, usage: frames.Usage) -> frames.Answer:
    """The text comes back, with what was asked for."""
    if isinstance(ask, frames.Classify):
        return frames.Answer(ask.id, classified=[frames.Classified([(t, 1.0)], usage) for t in ask.texts])
    if isinstance(ask, frames.Embed):
        options = f"{ask.normalize}/{ask.dimensions}/{ask.windows}"
        values = [f"{options} {text}".encode() for text in ask.texts]
        return frames.Answer(ask.id, embedded=[frames.Embedded(one, usage) for one in values])
    label = f"{ask.aggregation}/{ask.windows.overlap if ask.windows else None}"
    tagged = [frames.Tagged([frames.Entity(label, 0.5, t, 0, len(t))], usage) for t in ask.texts]
    return frames.Answer(ask.id, tagged=tagged)


def begin(
    ask: frames.Classify | frames.ClassifyTokens | frames.Embed | frames.Generate, streams: dict[int, str]
) -> list[frames.Frame]:
    text, usage = ask.texts[0], frames.Usage(len(ask.texts[0]), 0)
    if text == "die":
        os._exit(9)
    if text == "freeze":
        time.sleep(60)
    if text == "wait":
        streams[ask.id] = ""
        return []
    if text == "bad":
        return [frames.Failed(ask.id, "INVALID_INPUT", "a bad text", "inputs[0].text")]
    if not isinstance(ask, frames.Generate):
        return [read(ask, usage)]
    if ask.stream:
        streams[ask.id] = text
        return []
    return [frames.Answer(ask.id, generated=[frames.Generated(t, "stop", usage) for t in ask.texts])]


def step(streams: dict[int, str]) -> list[frames.Frame]:
    deltas = []
    for number, text in list(streams.items()):
        if text == "endless":
            deltas.append(frames.Delta(number, 0, "x"))
        elif text:
            last = len(text) == 1
            usage = frames.Usage(1, 1) if last else None
            deltas.append(frames.Delta(number, 0, text[0], "stop" if last else "", usage, last))
            streams[number] = text[1:]
            if last:
                del streams[number]
    return [frames.Step(deltas)] if deltas else []


def main() -> None:
    sock = socket.socket(fileno=int(option("--fd")))
    load(sock)
    unpack, streams = frames.Unpacker(frames.ToEngine), dict[int, str]()
    while True:
        sock.settimeout(0.002 if streams else None)
        out: list[frames.Frame] = []
        try:
            data = sock.recv(1 << 20)
            if not data:
                os._exit(0)
            for message in unpack.feed(data):
                match message:
                    case frames.Stop():
                        os._exit(0)
                    case frames.Ping(number=number):
                        out.append(frames.Pong(number))
                    case frames.Cancel(id=number):
                        if streams.pop(number, None) is not None:
                            out.append(frames.Gone(number))
                    case _:
                        out += begin(message, streams)
        except TimeoutError:
            pass
        out += step(streams)
        sock.settimeout(None)
        if out:
            sock.sendall(frames.pack(out))


if __name__ == "__main__":
    main()
