/* The lines of metrics.csv: each number as the shortest text from which the same number is read, as Python writes it.

   The digits are found by Schubfach (R. Giulietti, "The Schubfach way to render doubles", 2020): the shortest decimal
   number within the rounding interval of the double, and of several the one nearest to it. POWERS, a table that Python
   puts in front of this text, holds the leading 128 bits of the powers of ten from LEAST on, rounded up. */

#include <string.h>

typedef long long Whole;
typedef unsigned long long Bits;
typedef unsigned __int128 Wide;

#define MANTISSA 52
#define BIAS 1075 /* of an exponent, as the mantissa is taken for a whole number */
#define LONGEST_FIXED 16 /* digits before the point of a number that Python writes without an exponent */

/* Floors of e * log10(2), of e * log10(2) + log10(3 / 4), and of e * log2(10), for all exponents e of doubles. */
static int decimal_exponent(int e) { return (e * 1262611) >> 22; }
static int decimal_exponent_below(int e) { return (e * 1262611 - 524031) >> 22; }
static int binary_exponent(int e) { return (e * 1741647) >> 19; }

/* The product of a power of ten and a number, without its last 128 bits; odd where some of these are set. */
static Bits rounded_to_odd(const Bits *power, Bits number) {
  Wide low = (Wide)power[1] * number, high = (Wide)power[0] * number + (Bits)(low >> 64);
  return (Bits)(high >> 64) | ((Bits)high > 1);
}

/* The shortest decimal number for a positive double: its digits, and the power of ten that they are multiplied by. */
static Bits shortest(Bits bits, int *power) {
  Bits mantissa = bits & (((Bits)1 << MANTISSA) - 1), c = mantissa;
  int exponent = (int)(bits >> MANTISSA), q = 1 - BIAS;
  if (exponent) {
    c |= (Bits)1 << MANTISSA;
    q = exponent - BIAS;
    if (q <= 0 && -q <= MANTISSA && !(c & (((Bits)1 << -q) - 1))) { /* a whole number */
      *power = 0;
      return c >> -q;
    }
  }
  int below_is_closer = !mantissa && exponent > 1, odd = c & 1;
  int k = below_is_closer ? decimal_exponent_below(q) : decimal_exponent(q), h = q + binary_exponent(-k) + 1;
  const Bits *ten = POWERS[-k - LEAST];
  Bits lower = rounded_to_odd(ten, (4 * c - 2 + below_is_closer) << h) + odd; /* of an even mantissa, the ends count */
  Bits value = rounded_to_odd(ten, 4 * c << h), upper = rounded_to_odd(ten, (4 * c + 2) << h) - odd;
  Bits s = value / 4, tens = s / 10;
  if (s >= 10) {
    int down = lower <= 40 * tens, up = 40 * tens + 40 <= upper;
    if (down != up) {
      *power = k + 1;
      return tens + up;
    }
  }
  *power = k;
  int down = lower <= 4 * s, up = 4 * s + 4 <= upper;
  if (down != up) return s + up;
  Bits middle = 4 * s + 2;
  return s + (value > middle || (value == middle && (s & 1)));
}

/* Writes a whole number and returns the end of its text. */
static char *put_whole(char *out, Bits number) {
  char digits[20];
  int count = 0;
  do digits[count++] = (char)('0' + number % 10);
  while (number /= 10);
  while (count) *out++ = digits[--count];
  return out;
}

/* Writes a double as Python's repr does and returns the end of its text. */
static char *put(char *out, double number) {
  Bits bits;
  memcpy(&bits, &number, sizeof bits);
  Bits size = bits & ~((Bits)1 << 63);
  if (size > 0x7ffull << MANTISSA) return memcpy(out, "nan", 3), out + 3;
  if (size != bits) *out++ = '-';
  if (size == 0x7ffull << MANTISSA) return memcpy(out, "inf", 3), out + 3;
  if (!size) return memcpy(out, "0.0", 3), out + 3;
  int power;
  Bits found = shortest(size, &power);
  for (; found % 10 == 0; found /= 10) power++;
  char digits[20];
  int count = (int)(put_whole(digits, found) - digits), point = count + power; /* digits before the point */
  if (point > LONGEST_FIXED || point < -3) {
    *out++ = digits[0];
    if (count > 1) *out++ = '.';
    memcpy(out, digits + 1, count - 1);
    out += count - 1;
    *out++ = 'e';
    *out++ = point > 0 ? '+' : '-';
    int exponent = point > 0 ? point - 1 : 1 - point;
    if (exponent < 10) *out++ = '0';
    return put_whole(out, exponent);
  }
  if (point <= 0) {
    memcpy(out, "0.000", 5);
    out += 2 - point;
    memcpy(out, digits, count);
    return out + count;
  }
  for (int place = 0; place < point || place < count; place++) {
    if (place == point) *out++ = '.';
    *out++ = place < count ? digits[place] : '0';
  }
  return count > point ? out : (memcpy(out, ".0", 2), out + 2);
}

/* Writes a line for each epoch and returns the number of bytes. values: (epochs, columns), the first is the epoch. */
Whole lines(const double *values, Whole epochs, Whole columns, char *text) {
  char *out = text;
  for (Whole epoch = 0; epoch < epochs; epoch++, values += columns) {
    out = put_whole(out, (Bits)values[0]);
    for (Whole column = 1; column < columns; column++) {
      *out++ = ',';
      out = put(out, values[column]);
    }
    *out++ = '\n';
  }
  return out - text;
}
