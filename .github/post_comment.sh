#!/usr/bin/env bash
# Puts one comment on the pull request whose head is HEAD_SHA, or renews the one that is there.
# It is looked for by its branch, HEAD_OWNER:HEAD_BRANCH: GitHub does not find a fork's by its commit.
# Everything in the reports folder is a stranger's word: only verdict.json is taken (with its hash, which
# the reader asks for), and rendered anew.
set -euo pipefail

reports=$1
mark='<!-- pgolf-verify -->'
body=$(mktemp)
echo "$mark" > "$body"

mkdir -p "$reports" # none were made where nothing changed
find "$reports" -maxdepth 2 -name verdict.json -type f -size -2M -print0 | sort -z |
  while IFS= read -r -d '' verdict; do
    folder=$(mktemp -d)
    cp "$verdict" "$folder/verdict.json"
    head -c 100000 "$(dirname "$verdict")/SHA256SUMS" > "$folder/SHA256SUMS" || continue
    pgolf-verify report "$folder" --format markdown > "$folder/comment.md" || continue
    # Reading never accepts, so this was not written by the workflow that reads.
    grep -q '^### pgolf-verify: ACCEPTED' "$folder/comment.md" && continue
    # GitHub refuses comments of more than 65,536 characters.
    if [ $(( $(wc -m < "$body") + $(wc -m < "$folder/comment.md") )) -lt 65000 ]; then
      cat "$folder/comment.md" >> "$body"
    fi
  done

if [ "$(cat "$body")" = "$mark" ]; then
  echo "no verdict to tell"
  exit 0
fi
printf '\nRead at commit %s; nothing was run. Full report: %s\n' "$HEAD_SHA" "$RUN_URL" >> "$body"

number=$(gh api "repos/$REPOSITORY/pulls" --method GET -f state=open -f "head=$HEAD_OWNER:$HEAD_BRANCH" \
  --jq "map(select(.head.sha == \"$HEAD_SHA\")) | .[0].number // empty")
if [ -z "$number" ]; then
  echo "no open pull request has the head $HEAD_SHA"
  exit 0
fi
old=$(gh api "repos/$REPOSITORY/issues/$number/comments" --paginate \
  --jq ".[] | select(.user.type == \"Bot\" and (.body | startswith(\"$mark\"))) | .id" | head -n 1)
if [ -n "$old" ]; then
  gh api --method PATCH "repos/$REPOSITORY/issues/comments/$old" -F "body=@$body" > /dev/null
else
  gh api --method POST "repos/$REPOSITORY/issues/$number/comments" -F "body=@$body" > /dev/null
fi
echo "told on pull request $number"
