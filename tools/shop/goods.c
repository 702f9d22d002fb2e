/* See goods.h. Names and sentences are put together from small vocabularies; a category has its own nouns, its own price
 * level and its own sentence of use, so that the pages read like a shop's and compress like a shop's. */
#include "goods.h"

#include "random.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

struct category {
	const char *name, *use;
	double price; /* typical, cents */
	const char *noun[8];
};

static const struct category category[GOODS_CATEGORIES] = {
	{ "Kitchen", "At home on the stove and on the table", 2900,
	  { "Saucepan", "Bread Knife", "Mixing Bowl", "Kettle", "Cutting Board", "Whisk", "Casserole", "Pepper Mill" } },
	{ "Garden", "For beds, balconies and the far corner of the lawn", 2400,
	  { "Watering Can", "Pruning Shears", "Planter", "Rake", "Garden Hose", "Seed Tray", "Trowel", "Bird Feeder" } },
	{ "Bicycle", "Fits all common frames and survives the winter", 4500,
	  { "Saddle", "Pannier", "Bell", "Mudguard", "Front Light", "Pedal Set", "Chain Lock", "Handlebar Grip" } },
	{ "Camping", "Light enough to carry, strong enough to be carried far", 7900,
	  { "Sleeping Bag", "Lantern", "Stove", "Two-Person Tent", "Folding Chair", "Water Filter", "Hammock", "Dry Bag" } },
	{ "Stationery", "For people who still write things down", 900,
	  { "Notebook", "Fountain Pen", "Pencil Case", "Sketch Pad", "Stapler", "Ink Bottle", "Letter Set", "Ruler" } },
	{ "Toys", "From three years on, and for patient grandparents", 1900,
	  { "Marble Run", "Puzzle", "Building Set", "Spinning Top", "Kite", "Hand Puppet", "Balance Board", "Dice Game" } },
	{ "Lighting", "Warm light, no flicker, a switch where the hand looks for it", 5200,
	  { "Desk Lamp", "Pendant", "Floor Lamp", "Night Light", "Wall Light", "String Lights", "Reading Lamp", "Spotlight" } },
	{ "Audio", "Tuned by ear and then measured", 8900,
	  { "Headphones", "Bookshelf Speaker", "Record Player", "Microphone", "Radio", "Earbuds", "Amplifier", "Soundbar" } },
	{ "Tools", "Made to be lent out and to come back", 3400,
	  { "Hammer", "Screwdriver Set", "Hand Saw", "Spirit Level", "Cordless Drill", "Pliers", "Tape Measure", "Workbench" } },
	{ "Books", "Sewn binding, paper that does not glare", 1600,
	  { "Cookbook", "Atlas", "Field Guide", "Poetry Reader", "Travel Journal", "Dictionary", "Picture Book", "Almanac" } },
	{ "Bathroom", "Dries quickly and keeps its colour", 2100,
	  { "Towel Set", "Bath Mat", "Soap Dish", "Shower Head", "Mirror", "Laundry Basket", "Robe", "Toothbrush Holder" } },
	{ "Sport", "For the first kilometre and the hundredth", 3900,
	  { "Running Belt", "Yoga Mat", "Jump Rope", "Kettlebell", "Swim Goggles", "Racket", "Foam Roller", "Climbing Harness" } },
	{ "Pets", "Approved by a critical cat", 1700,
	  { "Scratching Post", "Dog Bowl", "Leash", "Aquarium Pump", "Travel Crate", "Cat Bed", "Brush", "Chew Toy" } },
	{ "Office", "Quiet, steady, and easy on the back", 11900,
	  { "Desk", "Swivel Chair", "Monitor Arm", "Filing Cabinet", "Keyboard", "Footrest", "Whiteboard", "Document Tray" } },
	{ "Pantry", "From small producers, with the harvest printed on it", 800,
	  { "Olive Oil", "Honey", "Coffee Beans", "Black Tea", "Sea Salt", "Pasta", "Apricot Jam", "Mustard" } },
	{ "Clothing", "Cut to be worn, washed and worn again", 4900,
	  { "Rain Jacket", "Wool Sweater", "Socks", "Linen Shirt", "Scarf", "Apron", "Work Trousers", "Cap" } },
};

static const char *const manner[] = { "Foldable", "Compact", "Classic", "Heavy-Duty", "Lightweight", "Handmade", "Quiet",
	"Adjustable", "Refillable", "Stackable", "Weatherproof", "Nordic", "Everyday", "Reversible", "Slim", "Old-Style" };
static const char *const matter[] = { "Oak", "Steel", "Copper", "Linen", "Cork", "Enamel", "Bamboo", "Aluminium", "Wool",
	"Ceramic", "Leather", "Glass", "Cotton", "Walnut", "Brass", "Recycled" };
static const char *const front[] = { "Hal", "Vester", "Mor", "Lin", "Tor", "Ever", "Bel", "Kast", "Ron", "Sol", "Fjell",
	"Ash", "Gran", "Wick", "Oster", "Pel" };
static const char *const back[] = { "vik", "ton", "berg", "mann", "dale", "ora", "lund", "field", "sen", "ley", "mark",
	"stad", "wood", "ini", "holm", "gate" };
static const char *const claim[] = { "Tested for ten years of daily use.", "Every wearing part can be replaced.",
	"Comes with a cloth bag and no plastic.", "The second edition, with a better handle.",
	"Made in a workshop of eleven people.", "Easy to clean, hard to lose.", "Repairs are free for five years.",
	"Awarded for its simple construction.", "The colour may differ a little from the picture.",
	"A favourite of our own warehouse team.", "Assembled in four minutes, without tools.", "Delivered in one box." };
/* By rating, 1..5. */
static const char *const verdict[5][4] = {
	{ "Broke on the first day", "Sent back", "Smells of glue", "Not what was pictured" },
	{ "Smaller than expected", "Arrived late and scratched", "Too loud", "Not for left-handers" },
	{ "Does what it should", "Broke once, was replaced", "Fine for the price", "Solid but heavy" },
	{ "Better than the old one", "Good value", "Solid and plain", "The colour is lovely" },
	{ "Would buy it again", "A gift that was kept", "My neighbour wants one too", "Ten years old and still good" },
};

static uint64_t trait(uint64_t seed, uint32_t id, uint64_t which)
{
	return mix64(mix64(seed ^ id) + which * UINT64_C(0x9e3779b97f4a7c15));
}

void goods_article(uint64_t seed, uint32_t id, struct article *article)
{
	uint64_t a = trait(seed, id, 1), b = trait(seed, id, 2), c = trait(seed, id, 3);
	const struct category *kind;

	article->id = id;
	article->category = (uint32_t)(a % GOODS_CATEGORIES);
	article->reviews = (uint32_t)(c % 6);
	kind = &category[article->category];
	snprintf(article->brand, sizeof(article->brand), "%s%s", front[(a >> 8) % COUNT(front)], back[(a >> 16) % COUNT(back)]);
	snprintf(article->name, sizeof(article->name), "%s %s %s %s %u", article->brand, manner[(b >> 8) % COUNT(manner)],
	         matter[(b >> 16) % COUNT(matter)], kind->noun[(b >> 24) % 8], (unsigned)(10 * (1 + (b >> 32) % 90)));
	snprintf(article->description, sizeof(article->description), "%s. %s %s %s Weight %u g, article number %08u.", kind->use,
	         claim[(c >> 8) % 4], claim[4 + (c >> 16) % 4], claim[8 + (c >> 24) % 4], (unsigned)(50 + (c >> 32) % 4000), id);
}

const char *goods_category(uint32_t which)
{
	return category[which % GOODS_CATEGORIES].name;
}

uint32_t goods_price(uint64_t seed, uint32_t id, uint32_t version)
{
	const struct category *kind = &category[trait(seed, id, 1) % GOODS_CATEGORIES];
	double level = (double)(trait(seed, id, 4) >> 40) / (double)(1 << 24);   /* 0..1 */
	double swing = (double)(trait(seed, id, 1000 + version) >> 40) / (double)(1 << 24);
	double cents = kind->price * exp2(4 * level - 2) * (0.9 + 0.2 * swing); /* a quarter to four times, then +-10 % */

	return 100 * (uint32_t)(cents / 100) + 99;
}

uint32_t goods_stock(uint64_t seed, uint32_t id, uint32_t version)
{
	return (uint32_t)(trait(seed, id, 2000 + (uint64_t)version) >> 32) % 400;
}

uint32_t goods_related(uint64_t seed, uint32_t id, uint32_t n, uint32_t articles)
{
	return (uint32_t)(trait(seed, id, 200 + n) % articles) + 1;
}

unsigned goods_review(uint64_t seed, uint32_t id, uint32_t n, char title[GOODS_TITLE_MAX])
{
	static const unsigned char rating[] = { 1, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 4, 5 };
	uint64_t bits = trait(seed, id, 100 + n);

	unsigned stars = rating[bits % COUNT(rating)];

	snprintf(title, GOODS_TITLE_MAX, "%s", verdict[stars - 1][(bits >> 8) % 4]);
	return stars;
}

uint64_t goods_sum(const void *bytes, size_t size)
{
	const unsigned char *at = bytes;
	uint64_t lane[4] = { size + 1, size + 2, size + 3, size + 4 }, word[4];

	for (; size >= sizeof(word); at += sizeof(word), size -= sizeof(word)) {
		memcpy(word, at, sizeof(word));
		for (int i = 0; i < 4; i++) {
			lane[i] = (lane[i] ^ word[i]) * UINT64_C(0x9e3779b97f4a7c15);
			lane[i] ^= lane[i] >> 29;
		}
	}
	memset(word, 0, sizeof(word));
	memcpy(word, at, size);
	for (int i = 0; i < 4; i++)
		lane[i] = mix64(lane[i] ^ word[i]);
	return mix64(lane[0] + mix64(lane[1] + mix64(lane[2] + mix64(lane[3]))));
}

#define SUM_AT (sizeof("{\"sum\":\"") - 1)
#define BODY_AT (sizeof(PAGE_HEAD) - 1)

void goods_seal(char *page, size_t size)
{
	char hex[17];

	snprintf(hex, sizeof(hex), "%016" PRIx64, goods_sum(page + BODY_AT, size - BODY_AT));
	memcpy(page + SUM_AT, hex, 16);
}

static bool hex_read(const char *text, uint64_t *value)
{
	*value = 0;
	for (int i = 0; i < 16; i++) {
		char c = text[i];
		unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;

		if (digit > 15)
			return false;
		*value = *value << 4 | digit;
	}
	return true;
}

bool goods_sealed(const char *page, size_t size)
{
	uint64_t sum;

	return size > BODY_AT && memcmp(page, PAGE_HEAD, SUM_AT) == 0 && hex_read(page + SUM_AT, &sum) &&
	       memcmp(page + SUM_AT + 16, &PAGE_HEAD[SUM_AT + 16], BODY_AT - SUM_AT - 16) == 0 &&
	       sum == goods_sum(page + BODY_AT, size - BODY_AT);
}

/* Reads `"name":<number>,` at *at; false if something else stands there. */
static bool number_read(const char **at, const char *end, const char *name, uint32_t *value)
{
	size_t size = strlen(name);
	uint32_t number = 0;

	if ((size_t)(end - *at) < size || memcmp(*at, name, size) != 0)
		return false;
	for (*at += size; *at < end && **at >= '0' && **at <= '9'; ++*at)
		number = number * 10 + (uint32_t)(**at - '0');
	*value = number;
	return *at < end && *(*at)++ == ',';
}

bool goods_check(uint64_t seed, uint32_t id, const char *page, size_t size, uint32_t *version)
{
	const char *at = page + BODY_AT, *end = page + size;
	uint32_t seen, price, stock;

	if (!goods_sealed(page, size) || !number_read(&at, end, "\"id\":", &seen) || seen != id)
		return false;
	if (!number_read(&at, end, "\"version\":", version) || !number_read(&at, end, "\"price_cents\":", &price) ||
	    !number_read(&at, end, "\"stock\":", &stock))
		return false;
	return price == goods_price(seed, id, *version) && stock == goods_stock(seed, id, *version);
}
