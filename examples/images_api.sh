#!/usr/bin/env bash
# Every verb of the API with curl: `make serve`, then `bash examples/images_api.sh`. Needs python3 to unpack base64.
set -euo pipefail

url=${IMAGES_URL:-http://127.0.0.1:8000/v1}
key=${IMAGES_KEY:-none}

post() { # path, then arguments of curl
  curl --silent --show-error --fail-with-body --header "Authorization: Bearer $key" "$url/$1" "${@:2}"
}
unpack() { # writes the first picture of an answer
  python3 -c 'import base64, json, sys; sys.stdout.buffer.write(base64.b64decode(json.load(sys.stdin)["data"][0]["b64_json"]))' > "$1"
  echo "$1"
}

post models
echo
post images/generations --json '{"prompt": "a red apple", "seed": 1}' | unpack apple.png

# Server-sent events: every preview as soon as it is there.
post images/generations --no-buffer --json '{"prompt": "two blue fish", "stream": true, "partial_images": 2}' | cut -c 1-72

if ! post models/default | grep '"edit"' > /dev/null; then
  echo "this model only generates: serve one that jobs/distill.py trained on three tasks"
  exit
fi
# By instruction, and with a mask, whose alpha 0 marks what to change; with mask_polarity=white, white does.
post images/edits --form image=@apple.png --form prompt="make the background blue" --form seed=2 | unpack edited.png
if [[ -f mask.png ]]; then
  post images/edits --form image=@apple.png --form mask=@mask.png --form prompt="a green pear" | unpack filled.png
else
  echo "there is no mask.png to fill: images_api.py makes one"
fi
