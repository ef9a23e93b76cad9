"""What all HTML pages share: one base template with the style, how it is rendered and written, and how numbers are rounded.

Nothing here knows what a page is about. Its template and its content belong to the room whose results it shows.
"""
