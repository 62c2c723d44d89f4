/** The mark: a small bell. */

export function Bell({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" fill="currentColor" aria-hidden>
      <path d="M16 3a2 2 0 0 1 2 2v.7c4 .9 7 4.4 7 8.8v4.7l2.4 3.9c.8 1.3-.1 2.9-1.6 2.9H6.2c-1.5 0-2.4-1.6-1.6-2.9L7 19.2v-4.7c0-4.4 3-7.9 7-8.8V5a2 2 0 0 1 2-2Z" />
      <path d="M12.3 27.5h7.4a3.8 3.8 0 0 1-7.4 0Z" />
    </svg>
  );
}
