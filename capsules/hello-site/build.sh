# Makes public/ out of the template, the style sheet and the list of facts.
# Everything it uses comes from the capsule or is fixed by the builder, so that every node makes the same bytes.
set -eu

mkdir -p public
cp style.css public/style.css

escape() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g'; }

# facts.txt has one fact a line: a title, a bar, a sentence.
escape <facts.txt | sed -n -e 's/^\([^|]*\)|\(.*\)$/      <li><h2>\1<\/h2><p>\2<\/p><\/li>/p' >public/facts.part

title=$(printf '%s' "$SITE_TITLE" | escape | sed -e 's/[&\/\\]/\\&/g')
date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d)

sed -e "s/@TITLE@/$title/g" -e "s/@DATE@/$date/g" -e '/@FACTS@/{
r public/facts.part
d
}' template.html >public/index.html
rm public/facts.part

sed -e "s/@TITLE@/$title/g" not-found.html >public/404.html
echo "made $(ls public | wc -l) files for “$SITE_TITLE”"
