"""Ask a running server (`make serve`, with the checkpoints of `make demo`) for each of its tasks."""

from trine.client import Client

with Client("127.0.0.1:8001") as client:
    best = client.classify("sentiment", "This film is a delight from start to finish.").labels[0]
    print(f"{best.name} {best.score:.2f}")

    for entity in client.classify_tokens("ner", "Just landed in Chicago with Sarah.").entities:
        print(f"{entity.label} {entity.text}, {entity.begin} to {entity.end}")

    for translation in client.translate("en-fr", ["Good morning.", "I am looking for a good restaurant."]):
        print(translation.text)

    for delta in client.stream_generate("verse", "ROMEO:", max_new_tokens=60, temperature=0.8):
        print(delta.text, end="", flush=True)
