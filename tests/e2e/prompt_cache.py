"""One chat of twenty turns through the gateway at argv[1]; prints each turn's prompt tokens
and how many of them the upstream's prompt cache served, as JSON.

The upstream is llama.cpp's server at argv[2]. The history is the script's in every chat. Where the
answers are "kept", a grammar has the model say them, so that the cache holds them as they were
generated; where they are "changed", the model says something else, as where a client edits answers
or leaves out what a model thought. argv[7] is the API that the chat speaks: chat, responses or
messages; the server takes a grammar over the first two alone.
"""

import json
import os
import sys
import urllib.request

api, upstream, model, chat = sys.argv[1:5]
remembers = sys.argv[5] == "true"
kept = sys.argv[6] == "kept"
dialect = sys.argv[7]

SYSTEM = os.environ.get("SYSTEM") or (
    "You are the assistant in a household app. Help with plans, meals, repairs and errands. Be warm and brief, "
    "prefer one good suggestion to a list of many, use metric units, and say so when you are not sure. "
    "Never invent appointments, prices or phone numbers."
)

# What is remembered from long ago, a question that recalls it, and the answer.
TURNS = [
    (
        "My sister Ines is allergic to hazelnuts and walnuts.",
        "Ines comes for dinner on Friday. Which cake could I bake that is safe for her allergy?",
        "A lemon and almond-free sponge is a safe choice: flour, eggs, butter, lemon zest and a thin sugar glaze. "
        "Check the flour and the sugar for traces of nuts, and keep it away from boards on which you cut nuts.",
    ),
    (
        "Our oven is an old gas oven that runs about twenty degrees too hot.",
        "At what temperature does it go into our oven, and for how long?",
        "Set it to 155 degrees, since yours runs hot, and look after 35 minutes. It is done when a wooden stick "
        "comes out clean; if the top browns early, cover it with a sheet of baking paper.",
    ),
    (
        "I cycle to work along the canal, about nine kilometres each way.",
        "It rains tomorrow. Should I still cycle to work along the canal?",
        "You can, if the wind stays light: nine kilometres in rain is half an hour with good mudguards. Take dry "
        "socks and put your papers in a closed bag. With gusts I would take the tram.",
    ),
    (
        "My bicycle is a green Gazelle with hub gears and a coaster brake.",
        "The brake of my bicycle squeals when it is wet. What is it?",
        "On a coaster brake a squeal mostly means dry grease in the rear hub. It is not dangerous by itself. Have "
        "the hub opened and greased with the maker's brake grease; ordinary grease would make it slip.",
    ),
    (
        "The landlord, Mr Okafor, wants repairs reported by letter, not by phone.",
        "A pipe under the sink drips. How do I tell the landlord?",
        "Write Mr Okafor a short letter: the place, since when it drips, and that you put a bucket under it. Add "
        "a photograph and ask for a date. Keep a copy, and close the valve under the sink at night.",
    ),
    (
        "We keep the toolbox and the water pump pliers in the cellar, behind the skis.",
        "Where did we put the pliers? I want to tighten the nut myself.",
        "They are in the cellar, in the toolbox behind the skis. Hold the pipe with one hand while you turn, a "
        "quarter turn at most, and stop if it resists: an old nut breaks more easily than it tightens.",
    ),
    (
        "Our daughter Mila has swimming lessons on Tuesdays at half past four.",
        "Can I make a dentist appointment on Tuesday afternoon, or does that clash with Mila's swimming?",
        "It clashes from about four o'clock, with the way to the pool. An appointment before three leaves enough "
        "time; otherwise take another day. I cannot see the dentist's calendar, so ask for both.",
    ),
    (
        "The dentist is Dr Lindqvist on Harbour Street, second floor.",
        "What was the name of our dentist again, and on which street?",
        "Dr Lindqvist, on Harbour Street, on the second floor. From the pool it is some minutes on foot. I do not "
        "know the number to call, so look at the card of your last visit.",
    ),
    (
        "For holidays we want mountains without a car; last year we went to the Engadin by train.",
        "Where could we spend the autumn holidays in the mountains, without a car?",
        "The valleys of South Tyrol would suit you: a train to Bolzano, buses every half hour, and larches that "
        "turn yellow in October. It is milder than the Engadin then, and the huts stay open longer.",
    ),
    (
        "Jonas gets sick on winding roads in a bus.",
        "Jonas worries about the bus up the winding road. What helps him?",
        "Let him sit at the front and look at the horizon, with an open window and only a little to eat before. "
        "Ginger helps some people. Better still, choose a place that the cable car reaches from the station.",
    ),
    (
        "Our cat Pixel needs a thyroid tablet every morning.",
        "Who can look after the cat while we travel, and what must they know?",
        "A neighbour who comes each morning would be best, since Pixel needs the thyroid tablet then. Write down "
        "the dose and where the tablets are, leave the vet's card, and have them try it once before you go.",
    ),
    (
        "Mrs Adeyemi next door has our spare key and likes orchids.",
        "What could we give the neighbour with the spare key as thanks?",
        "An orchid, since Mrs Adeyemi likes them: a white one in a clay pot goes with every room. Add a card that "
        "Mila has painted. That is personal, and it does not oblige her to anything in return.",
    ),
    (
        "I am learning Portuguese with a tutor on Thursday evenings.",
        "How do I practise my Portuguese between the evenings with the tutor?",
        "Read one short piece of news aloud each morning and retell it in three sentences. Record yourself once a "
        "week and bring the recording to the tutor; you hear more of your own mistakes than you would think.",
    ),
    (
        "Grandfather Emil turns eighty on the ninth of November and loves chess.",
        "What is a good present for grandfather's eightieth birthday?",
        "A book of annotated games from the years when Emil learned chess, and an afternoon in which each of you "
        "plays him once. Print the best game afterwards; that will stay longer than anything you can buy.",
    ),
    (
        "The living room faces north and gets no sun in winter.",
        "Which plants would do well in the living room in winter?",
        "With a window to the north take what bears shade: a cast iron plant, a snake plant, or a philodendron on "
        "the shelf. Water little, once the soil is dry to a finger's depth, and wipe the dust off the leaves.",
    ),
    (
        "I get migraines from red wine and from flickering light.",
        "We are invited to a wine tasting by candle light. Is that wise with my migraines?",
        "Both of what you named comes together there, red wine and flickering light. Go for the company, taste the "
        "white, drink water with it, and sit where the candles are not before your eyes. Leave when it begins.",
    ),
    (
        "Our internet comes from a box in the hallway that must be restarted after storms.",
        "Since the storm last night the internet is slow. What do I try first?",
        "Restart the box in the hallway: pull its plug, wait half a minute, put it back and give it five minutes. "
        "If it stays slow, try a cable in place of the radio, so that you know which of the two it is.",
    ),
    (
        "We save two hundred euros a month for a new heat pump.",
        "How long until we can pay for the heat pump with what we save?",
        "At two hundred euros a month you have 2,400 a year. I do not know the price of yours or what you have put "
        "aside already; ask for two offers and for the state's grant, then the months are a simple division.",
    ),
    (
        "Mila's school asks for no plastic in the lunch box.",
        "What can I put into the lunch box for school, without plastic?",
        "Bread with cheese in a cloth of beeswax, a whole apple, and carrots in a small steel tin. It all comes back "
        "home and is washed in a minute. On Fridays a piece of the cake, if some is left.",
    ),
    (
        "I want to be in bed by ten, because the early shift starts at six.",
        "When should we start cooking on Friday, if I have the early shift on Saturday?",
        "Start at five: the cake is baked by six, you eat at seven, and the table is cleared at nine. So you are in "
        "bed by ten and have your sleep before the early shift. Lay out the clothes in the afternoon.",
    ),
]


def post(url, body):
    headers = {"content-type": "application/json", "x-yychat-user-id": "ada", "x-yychat-conversation-id": chat}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, json.load(answer)


def saying(text):
    """A grammar of the tokens that the model's own tokenizer makes of the text."""
    _, answer = post(upstream.removesuffix("/v1") + "/tokenize", {"content": text})
    return "root ::= " + " ".join(f"<[{token}]>" for token in answer["tokens"])


if remembers:
    for fact, _, _ in TURNS:
        post(f"{api}/memories", {"text": fact, "user_id": "ada"})

def item(message):
    """A message as Responses gives it out, which is all that the server takes for an answer."""
    if message["role"] != "assistant":
        return message
    content = [{"type": "output_text", "text": message["content"]}]
    return {"type": "message", "status": "completed", "role": "assistant", "content": content}


def ask(messages):
    """The body of a turn, in the dialect."""
    body = {"model": model, "temperature": 0}
    if dialect == "responses":
        items = [item(message) for message in messages]
        return body | {"input": items, "max_output_tokens": 100}
    if dialect == "messages":
        system, *rest = messages
        return body | {"system": system["content"], "messages": rest, "max_tokens": 100}
    return body | {"messages": messages, "max_tokens": 100}


def read(answer):
    """What an answer says, the tokens of its prompt, and how many of them the cache served."""
    usage = answer["usage"]
    if dialect == "responses":
        (item,) = answer["output"]
        said = item["content"][0]["text"]
        return said, usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]
    if dialect == "messages":
        cached = usage["cache_read_input_tokens"]
        return answer["content"][0]["text"], usage["input_tokens"] + cached, cached
    (choice,) = answer["choices"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return choice["message"]["content"], usage["prompt_tokens"], cached


path = {"chat": "chat/completions"}.get(dialect, dialect)
# The name keeps the cache of another chat from serving this one.
messages = [{"role": "system", "content": f"{chat}. {SYSTEM}"}]
turns = []
for _, question, answer in TURNS:
    messages.append({"role": "user", "content": question})
    body = ask(messages)
    if kept:
        body["grammar"] = saying(answer)
    headers, completion = post(f"{api}/{path}", body)
    said, prompt, cached = read(completion)
    assert (said == answer) == kept, said
    outcome = headers["x-yychat-memory"]
    assert outcome.startswith("hit;") if remembers else outcome.startswith("off"), outcome
    turns.append((prompt, cached))
    messages.append({"role": "assistant", "content": answer})

print(json.dumps(turns))
